"""What is known of sites, stations and points beside their life: one store for all who are told.

- texts: the sentence of each rule, in English and French, by its code;
- fields, models: the shapes, strict about what is entered;
- reading: from JSON, strictly or as far as it can be used;
- declaring: what a public point still lacks to be declared;
- irve: the words of the IRVE schema for ours; irve_columns, what each national row says.

The rules themselves are in csms.domain.point_rules and opening_hours. Nothing is published here.
"""

from csms.static_data.declaring import (
    EvseFacts,
    Finding,
    SiteFacts,
    StationFacts,
    declarable,
)
from csms.static_data.models import (
    ConnectorStatic,
    EvseStatic,
    Life,
    PointTerms,
    SiteStatic,
    StationStatic,
    Warranty,
    warranty,
)
from csms.static_data.reading import (
    Flaw,
    flaws,
    lenient,
    life_of,
    merged,
    stored_warranty,
    terms_of,
)
from csms.static_data.texts import TEXTS, Language, message

__all__ = [
    "TEXTS",
    "ConnectorStatic",
    "EvseFacts",
    "EvseStatic",
    "Finding",
    "Flaw",
    "Language",
    "Life",
    "PointTerms",
    "SiteFacts",
    "SiteStatic",
    "StationFacts",
    "StationStatic",
    "Warranty",
    "declarable",
    "flaws",
    "lenient",
    "life_of",
    "merged",
    "message",
    "stored_warranty",
    "terms_of",
    "warranty",
]
