from asid_core.matching.detection import Detection as Detection
from asid_core.matching.two_files import TwoFiles as TwoFiles
from asid_core.matching.two_files import identify as identify
