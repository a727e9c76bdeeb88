"""What the HTTP servers of this project share: the protocol with its bounds, rates, and errors as
problem details. It knows no route and no principal."""
