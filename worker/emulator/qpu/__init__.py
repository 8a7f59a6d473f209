"""The modelled QPU: chips, timing, checks of problems and parameters, sampling."""
