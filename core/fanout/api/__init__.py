"""The resources that users write, as pydantic models; the CRDs are generated from them."""
