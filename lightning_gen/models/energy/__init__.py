"""Boltzmann machines."""

from .dbm import DBM as DBM
from .dbn import DBN as DBN
from .rbm import RBM as RBM
