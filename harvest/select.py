"""Which documents and figures are worth having, by their words alone: COVID, chest CT, and how likely."""

from __future__ import annotations

import re
import unicodedata

from harvest.licences import DASHES

# The words of early 2020: the name changed from 2019-nCoV to COVID-19/SARS-CoV-2 on 2020-02-11.
_COVID = re.compile(
    r"2019[\s-]*n[\s-]?cov|\b2019[\s-]*cov\b|\bn[\s-]?cov(?:[\s-]*(?:2019|19))?\b|\bcovid(?:\b|[\s_-]*(?:19|2019))"
    r"|sars[\s-]*cov[\s-]*2|\bh?cov[\s-]*(?:19|2019)\b|(?:sars|respiratory\s+syndrome)[\s-]*corona\s*virus[\s-]*2\b"
    r"|(?:novel|new)\s+(?:(?:beta|\u03b2)[\s-]*)?corona\s*virus|corona\s*virus(?:\s+disease)?[\s-]*(?:20)?19\b"
    r"|\bncp\b(?=.{0,80}pneumonia)"
    r"|2019[\s-]+(?:\w+\s+){0,2}corona|corona\s*virus\s+(?:epidemic|outbreak|pandemic|pneumonia)",
    re.IGNORECASE | re.DOTALL,
)
# zero-width characters and soft hyphens say where a line may break, and stand inside names
_TYPESET = DASHES | dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"), "")
# In the window the city's name alone tells; an article of 2015 about a hospital in Wuhan is not about COVID-19.
_PLACE = re.compile(r"wuhan", re.IGNORECASE)
_OUTBREAK = re.compile(
    r"wuhan[^.]{0,80}(?:pneumonia|virus|outbreak|epidemic)|(?:pneumonia|virus|outbreak|epidemic)[^.]{0,80}wuhan",
    re.IGNORECASE,
)
_CT = re.compile(
    r"comput(?:ed|erized|erised|er)(?:[\s-]+assisted)?\s+tomograph|\b(?:HR|MD|LD)?CT\b(?!-?\s*value)|\bCAT\s+scan|tomogra(?:m|phic)",
)
_CT_WORDS = re.compile(r"comput(?:ed|erized|erised|er)(?:[\s-]+assisted)?\s+tomograph|tomogra(?:m|phic)", re.IGNORECASE)
_CHEST = re.compile(
    r"\bchest|thora(?:x|cic)|\blungs?\b|pulmonary|pleura|ground[\s-]*glass|consolidation|bronch|emphysema|pneumoni|"
    r"mediastin|alveol|interstitial|honeycomb|tree[\s-]in[\s-]bud|\blob(?:e|ar)\b|pneumothorax|\bnodul",
    re.IGNORECASE,
)
_OTHER_ORGAN = re.compile(
    r"\bbrain|\bhead\b|cranial|skull|abdom|pelvi|\bliver|hepatic|renal|kidney|\bspine|lumbar|\bknee|\bfemur|sinus(?:es)?\b|"
    r"orbit|\bneck\b|colon|bowel|pancrea|spleen|dental|cardiac\s+CT\s+angiogra",
    re.IGNORECASE,
)
_OTHER_PICTURE = re.compile(
    r"x-?\s?ray|radiograph|\bMRI?\b|magnetic\s+resonance|ultraso|\bPET\b|scintigra|histolog|hematoxylin|H&E|microscop|"
    r"bronchoscop|photograph",
    re.IGNORECASE,
)
_GRAPH = re.compile(
    r"\bROC\b|kaplan|flow\s*chart|flow\s+diagram|\bschematic|box\s*plot|scatter\s*plot|histogram|forest\s+plot|"
    r"bar\s+(?:chart|graph)|receiver\s+operating",
    re.IGNORECASE,
)
_NOT_AXIAL = re.compile(
    r"\bcoronal|sagittal|\b3D\b|three-dimensional|volume[\s-]render|reformat|reconstruct|scout|topogram", re.IGNORECASE
)
_AXIAL = re.compile(r"\baxial|transver|\bsection|\bslice|lung\s+window|HRCT|high[\s-]resolution", re.IGNORECASE)
_RADIOLOGY = (
    (re.compile(r"ground[\s-]*glass|consolidation|crazy[\s-]paving|opacit(?:y|ies)", re.IGNORECASE), 3.0),
    (re.compile(r"radiolog|imaging|radiograph", re.IGNORECASE), 1.5),
    (re.compile(r"deep\s+learning|neural\s+network|artificial\s+intelligence|segmentation", re.IGNORECASE), 1.0),
    (re.compile(r"case\s+report|clinical\s+(?:features|characteristics|findings)|patients", re.IGNORECASE), 1.0),
    (re.compile(r"pneumonia|\blungs?\b|\bchest\b", re.IGNORECASE), 0.5),
)


def _plain(text: str) -> str:
    """The text as the patterns expect it: publishers set names with dashes, digits and joints of many kinds."""
    return unicodedata.normalize("NFKC", text).translate(_TYPESET)


def is_covid(text: str) -> bool:
    """True if the text speaks of COVID-19 in any of the names used since January 2020, however it is typeset."""
    text = _plain(text)
    return bool(_COVID.search(text) or _PLACE.search(text))


def may_be_covid(text: str) -> bool:
    """The same for text of any year: the city of Wuhan counts only together with an outbreak."""
    text = _plain(text)
    return bool(_COVID.search(text) or _OUTBREAK.search(text))


def names_ct(text: str) -> bool:
    """True if the text names computed tomography (``CT`` in capitals, or the words)."""
    return bool(_CT.search(text) or _CT_WORDS.search(text))


def ct_likelihood(title: str, abstract: str) -> float:
    """How likely a paper shows chest CTs (no unit; larger is earlier): CT in the title counts most."""
    text = f"{title}\n{abstract}"
    score = 8.0 * names_ct(title) + 4.0 * names_ct(abstract)
    return score + sum(weight for pattern, weight in _RADIOLOGY if pattern.search(text))


def chest_ct(
    caption: str, context: str = "", modality: str = "", plane: str = "", location: str = ""
) -> tuple[float, str]:
    """How likely a figure is an axial chest CT by what is written about it, and why; 0 means no.

    caption: the figure's own. context: title of the article or case (weighs less). modality, plane, location: where the
    source states them (MedPix) they decide.
    """
    if modality and not re.match(r"\s*(?:HR)?CT\b|\s*comput", modality, re.IGNORECASE):
        return 0.0, f"modality {modality}"
    if plane and not re.match(r"\s*(?:axial|transver)", plane, re.IGNORECASE):
        return 0.0, f"plane {plane}"
    if location and not _CHEST.search(location):
        return 0.0, f"location {location}"
    ct = names_ct(caption)
    if not modality and not ct:
        return 0.0, "the caption does not name CT"
    if (
        not location
        and not _CHEST.search(caption)
        and not (_CHEST.search(context) and not _OTHER_ORGAN.search(caption))
    ):
        return 0.0, "neither caption nor title names the chest"
    if _OTHER_ORGAN.search(caption) and not re.search(
        r"\bchest|thora(?:x|cic)|\blungs?\b|pulmonary", caption, re.IGNORECASE
    ):
        return 0.0, "another part of the body"
    score, why = 1.0, ["chest CT"]
    for found, weight, word in (
        (bool(modality), 1.0, "modality stated"),
        (bool(plane) or bool(_AXIAL.search(caption)), 0.5, "axial"),
        (
            bool(
                re.search(
                    r"ground[\s-]*glass|consolidation|lung\s+window|nodul|emphysema|bronchiect", caption, re.IGNORECASE
                )
            ),
            0.5,
            "lung finding",
        ),
        (bool(_OTHER_PICTURE.search(caption)), -0.4, "other pictures too"),
        (bool(_GRAPH.search(caption)), -0.8, "a graph or diagram"),
        (bool(_NOT_AXIAL.search(caption)) and not plane and not _AXIAL.search(caption), -0.8, "not axial"),
        (bool(_OTHER_ORGAN.search(caption)), -0.4, "other organs too"),
    ):
        if found:
            score += weight
            why.append(word)
    return (score, ", ".join(why)) if score >= 0.5 else (0.0, ", ".join(why))
