"""p(w | z, history): how a topic emits words. All other code goes through this interface.

`emission.lanes` gives the state of documents side by side (see `lla.inference.batch`): the
likelihood of their words token by token, the probabilities of all other words, and words drawn.

    shared              the paper's: φ, the same for every document
    personal, tables    words of a document's own within each topic; which tokens φ is counted from
    sources             what the sources beside the topics have counted and learned
    source_emission     topics of either kind and sources, side by side
    source_fit          how the sources are learned
"""

from lla.inference.emission.personal import PersonalEmission
from lla.inference.emission.shared import Emission, Lanes, SharedEmission
from lla.inference.emission.source_emission import SourceEmission

__all__ = ["Emission", "Lanes", "PersonalEmission", "SharedEmission", "SourceEmission"]
