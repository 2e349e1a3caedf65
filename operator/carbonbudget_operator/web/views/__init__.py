"""What each page shows, as dataclasses made of answers. Pure: no request, no clock."""
