from hypermesh.sdk import Mesh as Mesh
from hypermesh.sdk import connect as connect

__version__: str
