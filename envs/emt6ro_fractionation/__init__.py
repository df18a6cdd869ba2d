"""EMT6/Ro spheroid fractionation: a stochastic automaton of avascular growth under irradiation."""

from oncogym.envs.emt6ro_fractionation.env import TREATMENT
from oncogym.envs.emt6ro_fractionation.model import RECORD, EMT6RoPatient, EMT6RoResult, simulate
from oncogym.envs.emt6ro_fractionation.parameters import FIDELITIES, Fidelity, Parameters
from oncogym.envs.emt6ro_fractionation.protocol import Protocol, ProtocolError, read_protocols
from oncogym.envs.emt6ro_fractionation.tumour import (
    Tumour,
    TumourFileError,
    read_tumour,
    write_tumour,
)
from oncogym.envs.emt6ro_fractionation.tumour_library import grow, library

__all__ = [
    "FIDELITIES",
    "RECORD",
    "TREATMENT",
    "EMT6RoPatient",
    "EMT6RoResult",
    "Fidelity",
    "Parameters",
    "Protocol",
    "ProtocolError",
    "Tumour",
    "TumourFileError",
    "grow",
    "library",
    "read_protocols",
    "read_tumour",
    "simulate",
    "write_tumour",
]
