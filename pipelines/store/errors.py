"""What can be wrong with a catalogue, in words for its user."""


class CatalogueError(RuntimeError):
    """The catalogue is missing, of another format, or cut otherwise; the message says what to do."""


class LeaseError(CatalogueError):
    """Another run has the catalogue; the message says who and until when."""
