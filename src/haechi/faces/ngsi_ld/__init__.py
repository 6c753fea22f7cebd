"""The NGSI-LD API (ETSI GS CIM 009 v1.9.1), one module per family of clauses; mounted by the api role."""
