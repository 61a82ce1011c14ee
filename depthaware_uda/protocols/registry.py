"""All protocols, by name.

EP1, EP2 and EP3 are the published ones; EP2 and EP3 have two resolutions each. Their results are those that the
authors of *Depth Guidance and Intra-Domain Adaptation for Semantic Segmentation* report. The two MiniCity protocols are
this library's own, small enough for a CPU.
"""

from __future__ import annotations

from depthaware_uda.protocols.published import seven, sixteen
from depthaware_uda.protocols.records import AdaptationProtocol

__all__ = ["get_protocol", "list_protocols"]

_EP1 = AdaptationProtocol(
    name="ep1",
    title="EP1: SYNTHIA to Cityscapes, 16 classes",
    source="synthia",
    target="cityscapes",
    label_space="cityscapes16",
    source_size=(760, 1280),
    target_size=(512, 1024),
    published=(
        sixteen("AdvEnt", 40.8, 47.6),
        sixteen("IntraDA", 41.7, 48.9),
        sixteen("DADA", 42.6, 49.8),
        sixteen("CTRL", 44.3, 51.0),
        sixteen("DAF", 45.9, 53.1),
        sixteen(
            "DAF + IDA",
            *(46.7, 54.1),
            (86.3, 41.6, 81.4, 18.3, 1.3, 25.1, 11.0, 10.5, 82.9, 85.6, 62.4, 27.1, 83.9, 55.9, 33.3, 41.2),
        ),
    ),
)
_EP2_LOW = AdaptationProtocol(
    name="ep2-320x640",
    title="EP2: SYNTHIA to Cityscapes, 7 classes, 320 x 640",
    source="synthia",
    target="cityscapes",
    label_space="common7",
    source_size=(320, 640),
    target_size=(320, 640),
    full_size_labels=False,
    published=(
        seven("AdvEnt", 59.4),
        seven("DADA", 63.4),
        seven("CTRL", 64.9),
        seven("DAF", 67.5),
        seven("DAF + IDA", 68.2),
    ),
)
_EP2 = AdaptationProtocol(
    name="ep2",
    title="EP2: SYNTHIA to Cityscapes, 7 classes, full resolution",
    source="synthia",
    target="cityscapes",
    label_space="common7",
    source_size=(760, 1280),
    target_size=(512, 1024),
    published=(
        seven("AdvEnt", 67.2),
        seven("DADA", 69.2),
        seven("CTRL", 71.3),
        seven("DAF", 73.5),
        seven("DAF + IDA", 74.0, (94.0, 82.2, 30.0, 80.6, 85.5, 64.3, 81.6)),
    ),
)
_EP3_LOW = AdaptationProtocol(
    name="ep3-320x640",
    title="EP3: SYNTHIA to Mapillary Vistas, 7 classes, 320 x 640",
    source="synthia",
    target="mapillary",
    label_space="common7",
    source_size=(320, 640),
    target_size=(320, 640),
    full_size_labels=False,
    published=(
        seven("AdvEnt", 54.0),
        seven("DADA", 55.8),
        seven("CTRL", 61.3),
        seven("DAF", 62.9),
        seven("DAF + IDA", 63.6),
    ),
)
_EP3 = AdaptationProtocol(
    name="ep3",
    title="EP3: SYNTHIA to Mapillary Vistas, 7 classes, full resolution",
    source="synthia",
    target="mapillary",
    label_space="common7",
    source_size=(760, 1280),
    target_size=(768, 1024),
    published=(
        seven("AdvEnt", 65.2),
        seven("DADA", 67.6),
        seven("CTRL", 70.9),
        seven("DAF", 72.6),
        seven("DAF + IDA", 73.3, (87.2, 67.1, 39.1, 79.9, 93.9, 64.9, 80.8)),
    ),
)
_MINICITY = AdaptationProtocol(
    name="minicity",
    title="MiniCity, synthetic to real, 7 classes",
    source="minicity",
    target="minicity-real",
    label_space="common7",
    source_size=(96, 160),
    target_size=(96, 160),
    full_size_labels=False,
)
_MINICITY_CAMVID = AdaptationProtocol(
    name="minicity-camvid",
    title="MiniCity to CamVid, 7 classes",
    source="minicity",
    target="camvid",
    label_space="common7",
    source_size=(120, 160),
    target_size=(120, 160),
    full_size_labels=False,
)
_PROTOCOLS = {
    protocol.name: protocol for protocol in (_EP1, _EP2_LOW, _EP2, _EP3_LOW, _EP3, _MINICITY, _MINICITY_CAMVID)
}


def list_protocols() -> list[str]:
    """Names of the protocols."""
    return list(_PROTOCOLS)


def get_protocol(protocol: str | AdaptationProtocol) -> AdaptationProtocol:
    """The protocol of this name; an `AdaptationProtocol` is returned as it is.

    Raises:
        ValueError: There is no protocol of that name.
    """
    if isinstance(protocol, AdaptationProtocol):
        return protocol
    if protocol not in _PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {list_protocols()}")
    return _PROTOCOLS[protocol]
