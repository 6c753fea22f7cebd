"""Names of places and things in Korean, Chinese and English for generated cities. Used by the worlds."""

DONGS = {
    "gurae": {"ko": "구래동", "zh": "九来洞", "en": "Gurae-dong"},
    "masan": {"ko": "마산동", "zh": "麻山洞", "en": "Masan-dong"},
    "janggibon": {"ko": "장기본동", "zh": "场基本洞", "en": "Janggibon-dong"},
    "janggi": {"ko": "장기동", "zh": "场基洞", "en": "Janggi-dong"},
    "unyang": {"ko": "운양동", "zh": "云阳洞", "en": "Unyang-dong"},
}
THINGS = {
    "pipe": {"ko": "상수도관", "zh": "供水管道", "en": "water main"},
    "trunk": {"ko": "송배수간선", "zh": "供水干管", "en": "trunk main"},
    "junction": {"ko": "관로 분기점", "zh": "管网节点", "en": "junction"},
    "valve": {"ko": "제수변", "zh": "阀门", "en": "valve"},
    "boundary": {"ko": "블록 경계 제수변", "zh": "分区边界阀门", "en": "boundary valve"},
    "pressure": {"ko": "수압계", "zh": "水压计", "en": "pressure sensor"},
    "flow": {"ko": "유입 유량계", "zh": "进水流量计", "en": "inlet flow meter"},
    "meter": {"ko": "수도미터", "zh": "水表", "en": "water meter"},
    "camera": {"ko": "CCTV", "zh": "监控", "en": "camera"},
    "gateway": {"ko": "원격단말장치", "zh": "遥测终端", "en": "telemetry unit"},
    "ami": {"ko": "원격검침 집중기", "zh": "抄表集中器", "en": "meter concentrator"},
    "tank": {"ko": "배수지", "zh": "高位水池", "en": "service reservoir"},
    "pump": {"ko": "송수펌프", "zh": "送水泵", "en": "pump"},
    "substation": {"ko": "변전소", "zh": "变电站", "en": "substation"},
    "main": {"ko": "주변압기", "zh": "主变压器", "en": "main transformer"},
    "bank": {"ko": "전력용 콘덴서", "zh": "电容器组", "en": "capacitor bank"},
    "feeder": {"ko": "배전선로", "zh": "配电馈线", "en": "feeder"},
    "transformer": {"ko": "배전변압기", "zh": "配电变压器", "en": "distribution transformer"},
    "line": {"ko": "고압 배전선", "zh": "中压线路", "en": "medium-voltage line"},
    "relay": {"ko": "보호계전기", "zh": "保护继电器", "en": "protection relay"},
    "rtu": {"ko": "배전 원격단말", "zh": "配电终端", "en": "distribution RTU"},
    "dcu": {"ko": "전력 검침 집중기", "zh": "电表集中器", "en": "smart meter concentrator"},
    "smart_meter": {"ko": "스마트 전력량계", "zh": "智能电表", "en": "smart meter"},
    "highway": {"ko": "대로", "zh": "大道", "en": "boulevard"},
    "road": {"ko": "간선도로", "zh": "干路", "en": "main road"},
    "segment": {"ko": "도로 구간", "zh": "路段", "en": "road section"},
    "loop": {"ko": "차량검지기", "zh": "车辆检测器", "en": "vehicle detector"},
    "signal": {"ko": "신호제어기", "zh": "信号控制机", "en": "signal controller"},
    "modem": {"ko": "신호 통신장치", "zh": "信号通信机", "en": "signal modem"},
    "roadside": {"ko": "노변 제어기", "zh": "路侧网关", "en": "roadside gateway"},
    "source": {"ko": "가압장 정수지", "zh": "加压站清水池", "en": "pump station clear well"},
}


def named(place: str, thing: str, label: str = "") -> dict[str, dict[str, str]]:
    """A name in concise NGSI-LD: place, what it is, and its own label."""
    words = {one: [DONGS[place][one]] if place else [] for one in ("ko", "zh", "en")}
    for one, parts in words.items():
        parts.append(THINGS[thing][one])
        if label:
            parts.append(label)
    texts = {one: " ".join(parts) for one, parts in words.items()}
    return {"languageMap": {one: text[:1].upper() + text[1:] for one, text in texts.items()}}
