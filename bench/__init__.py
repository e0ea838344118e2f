"""The benchmark: Entrepot beside CNCF distribution, nginx and a reference receiver, in one run on one machine."""
