"""The words that evidence is read from: names of the disease, of other conditions, denial, doubt and dates.

Patterns are matched on text that `curation.captions_text.clean` has normalised (one space between words, plain
hyphens).
"""

from __future__ import annotations

import re

FLAGS = re.IGNORECASE

COVID = re.compile(
    r"(?:covid[\s-]*(?:20)?19|covid(?![a-z])|sars[\s-]*cov[\s-]*2(?!\d)|2019[\s-]*n?[\s-]*cov|n-?cov[\s-]*(?:20)?19|"
    r"hcov-19|(?<![a-z-])ncov(?![a-z])|(?<![a-z])ncp(?![a-z])|(?:novel|new) corona\s*virus|corona\s*virus disease|"
    r"corona\s*virus[\s-]*(?:20)?19|wuhan (?:corona\s*virus|pneumonia)|novel[\s-]*coronavirus[\s-]*infected|"
    r"(?<!human )(?<!seasonal )(?<!syndrome )(?<!sars )(?<!mers )coronavirus (?:pneumonia|infect\w+))",
    FLAGS,
)
"""any name of the disease or its virus in 2020; SARS and MERS of other years are not among them"""

OTHER = re.compile(
    r"(?<![a-z])(?:"
    r"(?:healthy|normal|negative|uninfected)[\s-]+(?:controls?|subjects?|volunteers?|individuals?|persons?|donors?)|"
    r"(?:in|from|of|as) (?:the |a |an )?controls?(?: (?:group|patients?|subjects?|cases?|"
    r"cohort))?(?![a-z\s-]*(?:of|for|and prevention))|"
    r"control (?:group|patients?|subjects?|cases?|panels?|cohort)|controls(?![a-z])|(?:^|"
    r"[:.,;(] ?)controls?(?=[ ,.:;)]|$)|"
    r"other (?:diseases?|pneumonias?|pathogens?|conditions?|infections?|viral pneumonias?)|"
    r"(?:bacterial|fungal|influenza|lipoid|organi[sz]ing|aspiration|pneumocystis|mycoplasma\w*|pneumococcal|lobar|"
    r"community[- ]acquired|interstitial|eosinophilic|adenovir\w+|rsv|klebsiella\w*|legionella\w*|cmv|"
    r"cytomegalovirus|usual interstitial|hypersensitivity) pneumon\w+|pneumon\w+,? (?:due to|"
    r"caused by) (?!the (?:novel|new)|sars|covid|2019)|"
    r"h1n1|h7n9|influenza(?: virus)?(?: [ab]\b)?|adenovirus|mers(?:[\s-]cov)?(?![a-z])|"
    r"middle east respiratory syndrome|sars(?![\s-]*cov[\s-]*2)(?![a-z])|"
    r"tubercul\w+|mycobacteri\w+|\w*ntm(?![a-z])|aspergill\w+|cryptococc\w+|histoplasm\w+|talaromyc\w+|nocardi\w+|"
    r"candid(?:a|iasis)|mucormyc\w+|actinomyc\w+|echinococc\w+|hydatid\w*|pneumocystis|legionell\w+|mycoplasma|"
    r"adenocarcinoma\w*|\w*carcinoma\w*|lymphoma\w*|sarcoma\w*|\w*blastoma\w*|melanoma\w*|mesothelioma\w*|hamartoma\w*|"
    r"thymoma\w*|(?:lung|pulmonary|breast|colorectal|esophageal|oesophageal|mediastinal) (?:cancer|tumou?r|mass|"
    r"neoplasm|metastas[ei]s)\w*|"
    r"tumou?r(?:ous|s)?(?: lesions?)?|metasta\w+|malignan(?:t|cy) (?:lesion|tumou?r|nodule|pleural)\w*|"
    r"sarcoid\w*|emphysema\w*|bronchiectas\w+|bronchiolitis|cystic fibrosis|idiopathic pulmonary fibrosis|"
    r"usual interstitial pneumonia|silicosis|asbestosis|pneumoconios\w+|alveolar proteinosis|"
    r"lymphangioleiomyomatosis|histiocytosis|granulomatosis|wegener\S*|vasculitis|churg\S*|goodpasture\S*|"
    r"h(?:ae|e)morrhage|pulmonary (?:embol\w+|infarct\w*|hypertension|sequestration|contusion)|embolism|"
    r"(?:heart|cardiac) failure|pulmonary (?:o?edema|fibrosis)|atelectasis|lobar collapse|aortic (?:dissection|"
    r"aneurysm)|"
    r"scleroderma|systemic sclerosis|rheumatoid \w+|lupus|arteriovenous malformation\w*|bronchogenic cyst\w*|"
    r"chronic obstructive pulmonary disease|copd|hiv(?![a-z])|aids(?![a-z])|pcp(?![a-z])|"
    r"non[\s-]*covid(?:[\s-]*19)?|non[\s-]*(?:sars[\s-]*cov[\s-]*2|2019[\s-]*ncov|ncp)|"
    r"(?:chronic )?obstructive pulmonary|congenital \w+|hernia\w*|teratoma\w*|lipoma\w*"
    r")",
    FLAGS,
)
"""conditions that stand for the other class when a caption states them of the person shown"""

NON_COVID = re.compile(r"non[\s-]*(?:covid(?:[\s-]*19)?|sars[\s-]*cov[\s-]*2|2019[\s-]*ncov|ncp)", FLAGS)

DENIED_BEFORE = re.compile(
    r"(?:\bnot?\b(?: \w+){0,3}|\bwithout(?: \w+){0,3}|\bnegative (?:\w+ ){0,4}(?:for|of|to)(?: \w+){0,2}|"
    r"\bexclud\w+(?: \w+){0,4}|\brul(?:e|ed|ing) out(?: \w+){0,4}|\b(?:free|absence) (?:of|from)(?: \w+){0,2}|"
    r"\bnever(?: \w+){0,3}|\bneither(?: \w+){0,3}|\bnon|\bother than(?: \w+){0,2}|\bunrelated to(?: \w+){0,2}|"
    r"\b(?:before|prior to|preceding) the(?: \w+){0,3}|\bmimic\w*(?: \w+){0,3}|\brather than(?: \w+){0,2}|"
    r"\b(?:distinguish|differentiat)\w*(?: \w+){0,4} from(?: \w+){0,3}|\bunlike(?: \w+){0,2}|"
    r"\b(?:compared|comparison|contrast) (?:with|to)(?: \w+){0,4}|\bversus(?: \w+){0,2}|\bvs\.?(?: \w+){0,2})"
    r"[\s-]*(?:the |a |an )?$",
    FLAGS,
)
"""text just before a name that takes it away from the person shown"""

DENIED_AFTER = re.compile(
    r"^[\s-]*(?:(?:infection|pneumonia|virus|rna|nucleic acid|rt[\s-]*pcr|pcr|test\w*|swab\w*|antibod\w+|igm|igg|assay|"
    r"detection|result\w*|was|were|is|are|by|of|on|the|and|in|had|has|been|repeated(?:ly)?|twice|\d+|"
    r"times?|or|other|common|respiratory|virus(?:es)?|viral|pathogens?|bacteri\w+|infections?|influenza|parainfluenza|"
    r"adenovirus|rsv|mycoplasma|[ab])[\s,/-]+){0,10}"
    r"(?:negative\b|excluded\b|ruled out\b|not (?:detected|confirmed|found|suspected|infected)\b|absent\b|"
    r"undetect\w+\b|free (?:controls?|patients?|subjects?)\b)",
    FLAGS,
)
SUSPECTED_BEFORE = re.compile(
    r"\b(?:suspect\w*|suspicious|possibl[ey]|probabl[ey]|presum\w+|highly suggestive|suggest\w*|likely|query|"
    r"under investigation|differential\w*|might be|may be|could be|consider\w*|concern\w*|rule out|typical of|"
    r"screen\w* for)"
    r"(?:[\s-]+[\w-]+){0,4}[\s-]*$",
    FLAGS,
)
SUSPECTED_AFTER = re.compile(
    r"^[\s-]*(?:(?:infection|pneumonia|virus|disease|patients?|cases?|was|were|is|are|be|the)[\s,-]+){0,4}"
    r"(?:(?:be |to be )?suspect\w*|possible\b|not (?:yet )?(?:been )?confirmed|unconfirmed|contacts?\b|"
    r"exposure\b|vaccin\w+|pandemic\b|era\b|(?:(?:could |can |can)?not )(?:be |been )?"
    r"(?:excluded|ruled out)|(?:test |testing |rt[\s-]*pcr |pcr |results? )*(?:pending|awaited)\b|"
    r"outbreak\b|epidemic\b|was considered|unlikely)",
    FLAGS,
)
CONFIRMED = re.compile(
    r"\b(?:confirmed|laboratory[- ]confirmed|(?:test\w*|swab|pcr|acid|result\w*|rna)(?: \w+){0,3} positive|"
    r"positive (?:\w+ ){0,3}(?:test|rt[\s-]*pcr|pcr|swab|nucleic)|diagnosed with)\b",
    FLAGS,
)
BOTH = re.compile(
    r"\b(?:both|co-?infect\w*|superinfect\w*|coexist\w*|concomitant\w*|complicated|combined|along) ", FLAGS
)
HISTORY = re.compile(
    r"\b(?:histor(?:y|ies)|underlying|comorbid\w*|known|previous\w*|past|chronic|incidental\w*|mild|pre-?existing|"
    r"background)(?: \w+){0,4} ?$",
    FLAGS,
)
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?)"
)
DATE = re.compile(
    rf"(?:\b(?P<m1>{MONTH})\.?\s*(?:\d{{1,2}}(?:st|nd|rd|th)?,?\s*)?(?P<y1>(?:19|20)\d\d)\b|"
    rf"\b(?P<y2>(?:19|20)\d\d)[-/.](?P<m2>0?[1-9]|1[0-2])[-/.]\d{{1,2}}\b|"
    r"\b(?:in|since|during|early|late|of|year) (?P<y3>(?:19|20)\d\d)(?![\d-]))",
    FLAGS,
)
NUMBERED = re.compile(
    r"\b(?P<kind>patients?|cases?|pts?|subjects?|participants?|individuals?|volunteers?)\.?[\s-]*"
    r"(?:no\.?|number|nr\.?|id|ids|#|nos\.?)?[\s#:.-]*"
    r"(?P<list>[a-z]{0,2}\d{1,3}\b(?:(?:\s*(?:,|and|&|to|-|–)\s*)+(?:(?:patient|"
    r"case)s?\s*)?[a-z]?\d{1,3}\b(?![\s-]*(?:year|day|month|week|h\b|%)))*)"
    r"(?![\s-]*(?:years?|days?|months?|weeks?|y/?o|%))",
    FLAGS,
)
AGED = re.compile(
    r"\b(?P<age>\d{1,3})[\s-]*(?:years?|yrs?|y)(?:[\s-]*(?:old|o))?[\s,-]*(?:(?:aged?|chinese|asymptomatic|"
    r"severe|critical\w*|healthy|"
    r"previously|white|asian|african|hispanic|italian|korean|pregnant|mild\w*|caucasian|hiv\S*|old)[\s-]+){0,3}"
    r"(?P<sex>wom[ae]n|females?|m[ae]n|males?|girls?|boys?|ladys?|gentlem[ae]n|patients?|child|infant|(?=,|\.|"
    r"\)|;|$| with| who))",
    FLAGS,
)
AGED_LATE = re.compile(
    r"\b(?P<sex>wom[ae]n|females?|m[ae]n|males?|girls?|boys?|patients?)[\s,(]+(?:who (?:is|was) )?(?:aged |"
    r"age )?(?P<age>\d{1,3})[\s-]*(?:years?|yrs?)",
    FLAGS,
)
ORDINAL = re.compile(r"\b(?:the )?(first|second|third|fourth|fifth|sixth) (?:\w+ ){0,2}(patient|case)\b", FLAGS)
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6}
