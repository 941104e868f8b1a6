"""DCGAN in parts: data, networks, training, figures, pictures. Knows no DVC and no command line."""
