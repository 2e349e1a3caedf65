"""The custom resources and REST bodies as pydantic models; the CRDs are generated from here."""
