"""What a context source may say that it does: names of operations and of groups of them (clause 4.20). Used by the
model and by the face."""

from collections.abc import Iterable, Mapping

from haechi.core.errors import InvalidData

_DISCOVERY = frozenset(
    """
    retrieveEntityTypes retrieveEntityTypeDetails retrieveEntityTypeInfo retrieveAttrTypes retrieveAttrTypeDetails
    retrieveAttrTypeInfo
    """.split()  # noqa: SIM905 - a list of words is read as one
)
_SUBSCRIPTIONS = frozenset(
    "createSubscription updateSubscription retrieveSubscription querySubscription deleteSubscription".split()  # noqa: SIM905
)
_ENTITIES = frozenset(
    """
    retrieveEntity queryEntity queryBatch retrieveTemporal queryTemporal createEntityMap createEntityMapQueryTemporal
    retrieveEntityMap updateEntityMap deleteEntityMap
    """.split()  # noqa: SIM905 - as above
)
READING = _ENTITIES | _DISCOVERY | _SUBSCRIPTIONS
WRITING = frozenset(
    """
    createEntity updateEntity appendAttrs updateAttrs deleteAttrs deleteEntity mergeEntity replaceEntity replaceAttrs
    purgeEntity createBatch upsertBatch updateBatch deleteBatch mergeBatch upsertTemporal appendAttrsTemporal
    deleteAttrsTemporal updateAttrsTemporal updateAttrInstanceTemporal deleteAttrInstanceTemporal deleteTemporal
    """.split()  # noqa: SIM905 - as above
)
GROUPS: Mapping[str, frozenset[str]] = {
    "federationOps": frozenset({"retrieveEntity", "queryEntity", "queryBatch"}) | _DISCOVERY | _SUBSCRIPTIONS,
    "associationOps": frozenset({"retrieveEntity", "queryEntity", "queryBatch"}) | _DISCOVERY | _SUBSCRIPTIONS,
    "retrieveOps": frozenset({"retrieveEntity", "queryEntity"}),
    "updateOps": frozenset({"updateEntity", "updateAttrs", "replaceEntity", "replaceAttrs"}),
    "redirectionOps": frozenset(
        """
        createEntity updateEntity appendAttrs updateAttrs deleteAttrs deleteEntity mergeEntity replaceEntity
        replaceAttrs purgeEntity retrieveEntity queryEntity
        """.split()  # noqa: SIM905 - as above
    )
    | _DISCOVERY,
}
DEFAULT = "federationOps"


def expanded(given: Iterable[str]) -> frozenset[str]:
    """The single operations that names of operations and groups stand for; `InvalidData` names an unknown one."""
    found: set[str] = set()
    for one in given:
        if one in GROUPS:
            found |= GROUPS[one]
        elif one in READING or one in WRITING:
            found.add(one)
        else:
            raise InvalidData(
                f"operations has {one!r}; there are {', '.join(GROUPS)} and the names of clause 4.20", "bad_request"
            )
    return frozenset(found)
