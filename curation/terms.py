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
    r"(?:(?:common|ordinary|conventional|non-?viral|hospital-acquired|nosocomial|ventilator-associated|varicella|"
    r"necroti[sz]ing|obstructive|chemical|radiation|bilateral bacterial) pneumon\w+)|broncho-?pneumonia|"
    r"(?-i:CAP|HAP|VAP|PJP|ILD|IPF)(?![A-Za-z])|(?:lung |pulmonary )?abscess\w*|empyema|"
    r"(?:hydro|haemo|hemo)?pneumothora\w+|"
    r"(?:chronic )?obstructive pulmonary|congenital \w+|hernia\w*|teratoma\w*|lipoma\w*"
    r")",
    FLAGS,
)
"""conditions that stand for the other class when a caption states them of the person shown"""

NON_COVID = re.compile(r"non[\s-]*(?:covid(?:[\s-]*19)?|sars[\s-]*cov[\s-]*2|2019[\s-]*ncov|ncp)", FLAGS)

DENIED_BEFORE = re.compile(
    r"(?:\bnot?\b(?: [\w-]+){0,3}|\bwithout(?: [\w-]+){0,3}|"
    r"\bneg(?:ative|\.)? (?:\w+ ){0,4}(?:for|of|to|on)(?: \w+){0,2}|"
    r"\b(?:no|without|nor|absence of)\b(?: [\w-]+){1,4}(?:, [\w-]+(?: [\w-]+){0,2}){0,4},? (?:or|nor)"
    r"(?: [\w-]+){0,2}|"
    r"(?<!was )(?<!were )(?<!been )\b(?:exclud\w+|rul(?:e|ed|ing) out)(?! and\b)(?: \w+){0,4}|"
    r"\b(?:free|absence) (?:of|from)(?: \w+){0,2}|"
    r"\b(?:never|none|nobody|no one)(?: \w+){0,4}|\bneither(?: \w+){0,3}|\bnon|\bother than(?: \w+){0,2}|"
    r"\bunrelated to(?: \w+){0,2}|"
    r"\b(?:mimic|simulat|resembl|masquerad|mistaken|taken for|misdiagnos|misinterpret)\w*(?: \w+){0,3}|"
    r"\brather than(?: \w+){0,2}|\b(?:distinguish|differentiat)\w*(?: \w+){0,4} from(?: \w+){0,3}|"
    r"\bunlike(?: \w+){0,2})[\s-]*(?:the |a |an )?$",
    FLAGS,
)
"""text just before a name that takes it away from the person shown"""

COMPARED_BEFORE = re.compile(
    r"(?:\b(?:compared|comparison|contrast|opposed) (?:with|to)(?: \w+){0,4}|"
    r"\bversus(?: \w+){0,2}|\bvs\.?(?: \w+){0,2})"
    r"[\s-]*(?:the |a |an )?$",
    FLAGS,
)
"""what follows is set beside the person shown; where both sides are named, both may be in the figure"""

TEST = (
    r"(?:(?:rt|q|r)[\s-]*)*pcr|tests?|testing|swabs?|assays?|serolog\w+|antibod\w+|ig[mg]|antigen|nucleic acid|rna|"
    r"results?|specimens?|samples?"
)
NEGATIVE_BEFORE = re.compile(
    rf"(?P<doubtful>\b(?:false(?:ly)?|{TEST}|radiograph\w*|x-?ray|ct|initial\w*|first|early)[\s-]+)?"
    r"\bnegative[\s-]+(?P<kind>(?:(?:initial|first|second|third|repeat(?:ed)?|serial|consecutive|nasopharyngeal|throat|"
    r"rapid|molecular|real-time|viral|screening|pcr|rt-pcr|novel)[\s-]+){0,3})$",
    FLAGS,
)
""""negative SARS-CoV-2 test"; but "PCR-negative COVID-19" and a false or first negative leave it open"""

DENIED_AFTER = re.compile(
    r"^[\s):=-]*(?:(?:na[iï]ve|unaffected|uninfected|unexposed)\b|\(\s*(?:-|neg\w*)(?:\s*ve)?\s*\)|-\s?ve\b|"
    r"(?:(?:infection|pneumonia|virus|by|of|on|the|and|in|had|has|been|was|were|is|are|twice|\d+|"
    r"c[ao]mes?|could|can|be|back|out|turned|return\w*|remain\w*|stayed|again|all|both|always|\w+ly|consecutive|"
    r"times?|or|other|common|respiratory|virus(?:es)?|viral|pathogens?|bacteri\w+|infections?|influenza|parainfluenza|"
    rf"adenovirus|rsv|mycoplasma|[ab]|repeated(?:ly)?|detection|status|{TEST})[\s,/:(=-]+){{0,10}}"
    r"(?:neg(?:ative)?\b"
    r"(?! (?:for|of|(?:chest |initial |thoracic )*(?:ct|x-?ray|radiograph\w*|imaging))\b)|excluded\b|"
    r"ruled out\b|-\s*\)|"
    r"(?:could |can |did )?not (?:be )?(?:detect\w*|confirmed|found|suspected|infected|shown?)\b|"
    r"absent\b|refuted\b|dis(?:proved|proven|missed|carded)\b|"
    r"improbable\b|undetect\w+\b|free (?:controls?|patients?|subjects?)\b)|"
    rf"(?:(?!with\b|despite\b|who|but\b|and\b|patients?\b|cases?\b|in\b)\w+[\s-]+){{0,2}}(?:{TEST})\b"
    r"(?:[\s,:-]+(?!positive|in\b|with\b|but\b|patients?|showed)[\w-]+){0,7}?[\s,:(-]+(?:negative|undetect\w+)\b)",
    FLAGS,
)
FIRST = re.compile(r"\b(?:initial\w*|first|early|previous\w*|baseline)\b", FLAGS)
"""a test that was not the last one"""

CLAUSE = re.compile(r"[.;,]\s|\b(?:but|and|while|whereas|however)\b", FLAGS)
POSITIVE_LATER = re.compile(
    rf"(?:\b(?:{TEST}|one|second|third|fourth|repeat\w*|later|subsequent\w*|then|finally|became|turned|convert\w*)\b"
    r"(?!.*\b(?:cultures?|smear|stain\w*|blood|urin\w+|not|never)\b)[^.;]{0,60}?\bpositive\b|"
    r"^\W*(?:it )?(?:was |were |became |turned )?positive\b)(?! (?:for|of) (?!sars|covid|the virus|it\b|2019))",
    FLAGS,
)
"""in a clause after a negative test: a later one found the virus"""

CONTACT_BEFORE = re.compile(
    r"\b(?:contacts?|contacted|expos\w+|relatives?|family members?|wife|husband|spouse|son|daughter|mother|father|"
    r"brother|sister|parents?|colleagues?|(?:room|flat|class)mates?|co-?workers?|neighbou?rs?|car(?:ed|ing|er|egiver)) "
    r"(?:(?!infected|diagnosed|confirmed)\w+ ){0,2}?"
    r"(?:of|with|to|for|had|has|was|were|developed|tested)(?:[\s-]+(?!and\b|was\b|were\b|then\b|developed|contracted)[\w-]+){0,5}[\s-]*$",
    FLAGS,
)
"""the name belongs to somebody the person shown has met"""

TIME_BEFORE = re.compile(
    r"\b(?:(?:before|prior to|preceding|antedating) (?:the |an? |his |her |their )?(?P<what>(?:\w+ ){0,3})|pre[\s-]*)$",
    FLAGS,
)
NEAR = re.compile(
    r"^[\s-]*(?:\w+ ){0,3}?(?:onset|diagnos\w+|confirm\w+|tests?|pcr|rt-pcr|positiv\w+|symptom\w*|admission)\b|"
    r"^(?:\w+ )*(?:onset|diagnosis|confirmation|detection|symptoms)\b",
    FLAGS,
)
TREATED = re.compile(r"^[\s-]*(?:\w+ ){0,2}?(?:treat\w+|therap\w+|medication|drugs?)\b", FLAGS)
DURING_BEFORE = re.compile(
    r"\b(?:during|amid(?:st)?|since|throughout|(?:times?|era|age|wave|surge|peak|midst|wake) of)[\s-]*(?:the )?$",
    FLAGS,
)
PERSONAL = re.compile(
    r"^[\s-]*(?:infect\w+|pneumon\w+|illness|diagnos\w+|onset|symptom\w*|course|treatment|therapy|hospital\w*|"
    r"admission|recovery)\b",
    FLAGS,
)
"""after "during COVID-19": a person's illness, not the time everybody lived in"""

SUSPECTED_BEFORE = re.compile(
    r"\b(?:suspect\w*|suspicio\w+|point\w* (?:to|towards?)|"
    r"possibl[ey]|probabl[ey]|presum\w+|highly suggestive|suggest\w*|likely|query|"
    r"under investigation|puis?|unknown|await\w*|fear\w*|pitfalls?|equivocal|question of|look-?alikes?|confus\w*|"
    r"overlap\w*|(?:read|reported|interpreted|regarded|taken|treated|thought|believed|assumed) (?:\w+ )?(?:as|to be)|"
    r"differential\w*|might be|may be|could be|consider\w*|concern\w*|rule out|typical of|"
    r"(?:screen|test|evaluat|assess|investigat|examin|quarantin|isolat)\w* for|work-?up for|"
    r"(?:in(?:consistent|compatible) with|(?:a|non)-?typical (?:for|of)|un(?:usual|characteristic|typical) (?:for|of)|"
    r"similar\w* (?:to|with)|reminiscent of|non-?specific for|indeterminate for))"
    r"(?:[\s-]+[\w-]+){0,4}[\s-]*$|\?\s?$",
    FLAGS,
)
SUSPECTED_AFTER = re.compile(
    r"^[\s-]*(?:\?|(?:(?:infection|pneumonia|virus|disease|patients?|cases?|was|were|is|are|be|the)[\s,-]+){0,4}"
    r"(?:(?:be |to be )?(?:suspect\w*|possible)\b(?! (?!patient|case|infection|pneumonia|by|on|in)\w)|"
    r"(?:ha[ds] )?not (?:yet )?(?:been )?(?:confirmed|proven|established|verified)|unconfirmed|(?:had |has )?(?:been )?"
    r"(?:feared|thought|assumed)|(?:\w*status )?(?:unknown|undetermined)|"
    r"(?:(?:could |can |can)?not )(?:be |been )?"
    r"(?:excluded|ruled out)|(?:test |testing |rt[\s-]*pcr |pcr |results? )*(?:pending|awaited)\b|"
    r"was considered|"
    r"(?:in|on|among) the (?:differential|list)|unlikely))",
    FLAGS,
)
ASIDE_AFTER = re.compile(
    r"^[\s-]*(?:(?:infection|virus|disease|patients?|cases?|close|negative)[\s,-]+){0,3}"
    r"(?:(?:was|is|were) (?:spreading|emerging|circulating|endemic|prevalent|raging|rife)|"
    r"contacts?|exposure|vaccin\w+|pandemics?|eras?|outbreaks?|epidemics?|crisis|lockdown\w*|waves?|surges?|"
    r"screening|times|"
    r"(?:free )?(?:wards?|units?|hospitals?(?! day)|cent(?:er|re)s?|clinics?|facilit\w+|zones?|areas?)|"
    r"restrictions|guidelines?|protocols?)\b",
    FLAGS,
)
"""the name is part of a time, a measure or another person's state"""

CONFIRMED = re.compile(
    r"(?<!not )(?<!never )(?<!been )\b(?:confirmed|laboratory[- ]confirmed|(?:test\w*|swab|pcr|acid|result\w*|rna)"
    r"(?: \w+){0,3} positive|positive (?:\w+ ){0,3}(?:test|rt[\s-]*pcr|pcr|swab|nucleic))\b",
    FLAGS,
)
BOTH = re.compile(
    r"\b(?:both (?!(?:the )?(?:lungs?|lower|upper|sides?|lobes?|patients?|cases?|m[ae]n|women|images?|panels?|groups?|"
    r"hemithora\w+|left|right)\b)|(?:co-?infect\w*|superinfect\w*|secondary|superimposed|coexist\w*|concomitant\w*|complicated|combined|"
    r"along) )",
    FLAGS,
)
WITH = re.compile(r"(?:^|\s)(?:with|had|has|having|showed|showing|shows|and then|developed|underlying)(?=\s|$)", FLAGS)
PERSON = (
    r"(?:patients?|cases?|m[ae]n|wom[ae]n|males?|females?|boys?|girls?|child|infant|subjects?|persons?|individuals?|"
    r"volunteers?|controls?|groups?|cohort|participants?|those)"
)
SECOND = re.compile(
    rf"(?:\b(?:and|or|versus|vs|while|whereas|than|compared)\b|[;/])(?: [\w.-]+){{0,5}}? "
    rf"(?:{PERSON}|one|another|others?)\b|, (?:another|one|the other|(?:a|the) (?:second|third) \w+|{PERSON} \w\b)",
    FLAGS,
)
"""between two names: the second is said of somebody else"""

APART = re.compile(
    r"\((?:top|upper|left)\b.*\((?:bottom|lower|right)\b|"
    r"\b(?:top|upper|left)(?: (?:row|panel|column|image|side))?s?:.*\b(?:bottom|lower|right)(?: \w+)?:|"
    r"\b(?:upper|top|left|first) (?:row|panel|column|image).*\b(?:lower|bottom|right|second) (?:row|panel|col|image)|"
    r"\brespectively\b",
    FLAGS,
)
"""the text shares its subjects out over places of the figure"""

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

FINDING = re.compile(
    r"(?:emphysema|bronchiectas|bronchiolitis|atelectasis|lobar collapse|h(?:ae|e)morrhage|embolism|"
    r"pulmonary (?:embol|infarct|hypertension|o?edema|fibrosis|abscess)|(?:heart|cardiac) failure|(?:lung )?abscess|"
    r"empyema|\w*pneumothora|copd|(?:chronic )?obstructive pulmonary)",
    FLAGS,
)
"""of `OTHER`, what a COVID-19 patient may well have besides"""

NORMAL = re.compile(
    r"\b(?:normal|unremarkable|clear|healthy)[\s-]+(?:(?:chest|thoracic|axial|initial|baseline|hrct|lung|pulmonary)[\s-]+)"
    r"{0,2}(?:ct|hrct|lungs?|scans?|images?|tomogra\w+|parenchyma|findings?|appearance|radiograph\w*)\b|"
    r"\bno (?:abnormalit\w+|abnormal findings?)|^\W*(?:normal|healthy|negative|(?:viral )?pneumonia|others?)\W*$",
    FLAGS,
)
PLAIN = re.compile(r"\b(?:normal|healthy)\W*(?:$|[(;,.)])", FLAGS)
"""the name of a class, not of a finding"""

NAME = COVID.pattern
ALIAS_BEFORE = re.compile(rf"(?:{NAME})[^()]{{0,12}}\($", FLAGS)
ALIAS_AFTER = re.compile(rf"^[^()]{{0,12}}\((?:{NAME})\)", FLAGS)
"""a second name in brackets is the same mention: "coronavirus disease 2019 (COVID-19)"."""

COMPARISON = re.compile(
    r"\b(?:differen(?:ces?|ti\w+|t (?:diseases|conditions|causes|aetiologies|etiologies))|compar\w+|distinguish\w*|"
    r"versus|vs|mimics?|contrast of)\b",
    FLAGS,
)
SIDE_BY_SIDE = re.compile(
    rf"(?:{NAME})(?:[\s-]*(?:pneumonia|infection|patients?|cases?))? ?"
    r"(?:and|or|vs\.?|versus|from|compared (?:with|to)) "
    r"(?!(?:\w+ )?(?:follow|day|week|ct|chest|radiograph|x-ray|at|on|in|its|the course))|"
    rf"(?:and|or|vs\.?|versus|from|with|to) (?!\w*(?:severe|mild|moderate|critical|fatal|early|late|symptomatic))"
    rf"(?:\w+ )?(?:{NAME})",
    FLAGS,
)
"""in a text that compares: the name is one side of it"""

WORD = r"\w++(?:-++\w++){0,9}+-*+\s[\s-]*+"
"""one word and the gap after it, cut in one way only: were a hyphen either, a row of them would take years"""
SHOWN = re.compile(
    r"\b(?:an?|the|this|our|one|his|her|same|index|first|second|third|old|(?:fe)?male|confirmed)[\s-]++"
    rf"(?:(?:{WORD}){{0,3}}?|(?:{WORD}){{0,2}}?(?:\w++-++){{1,9}}?)"
    r"(?:patient|case|(?:wo)?man|(?:fe)?male|boy|girl|child|infant|subject|person|individual|survivor)\b|"
    r"\b(?:patient|case) (?:no\.? ?)?(?:\d|[A-Z]\b)|\b(?:patient|he|she)\b(?! \w+s\b)|"
    r"\b(?:scans?|images?|findings?|features?|manifestations?|tomogra\w+|ct|hrct|opacit\w+|lesions?|changes) "
    r"(?:of|from|in) |\bfig\w*\.? ?s?\d+ ?\(?[a-z]?\)?,? (?:also )?(?:shows?|showing|depicts?|illustrates?|presents?|"
    r"demonstrates?|is|are|displays?)\b",
    FLAGS,
)
"""a sentence about the figure speaks of somebody or of pictures, not of the disease at large"""
