"""The language of NGSI-LD, without HTTP: names and @contexts, queries, how entities are shown. For the face and for
subscriptions."""
