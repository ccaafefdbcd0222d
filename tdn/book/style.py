"""The colours of the figures, of Okabe and Ito: they differ for the colour-blind too. A network has one through the
whole book, that of its module in the diagrams; so have families and verdicts."""

from tdn.book.intervals import CONTRADICTED, INCONCLUSIVE, SMALLER, SUPPORTED, UNTRAINED

ORANGE, SKY, GREEN, BLUE, RED, PURPLE = "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7"
GRAY, DARK = "0.6", "0.3"

FAMILIES = {"short": RED, "order": BLUE, "both": DARK}  # not those of networks
VERDICTS = {SUPPORTED: GREEN, CONTRADICTED: RED, SMALLER: BLUE, INCONCLUSIVE: GRAY, UNTRAINED: "0.85"}
NETWORKS = {"TSN": GRAY, "temporal convolution": PURPLE, "T-Conv": PURPLE, "S-TDM": ORANGE, "L-TDM": SKY, "TDN": GREEN}


def of_network(name: str) -> str:
    """The colour of a row of the tables: of the network that its name begins with; another one is dark grey."""
    first = name.split(",")[0].split(" in ")[0].split(" (")[0]
    return NETWORKS.get(first, DARK)
