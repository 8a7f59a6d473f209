"""D-Wave's solver API, client side: connections, problems and answers on the wire, errors."""
