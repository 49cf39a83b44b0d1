//! The SIP shim: turns SIP into pbx events and pbx commands into SIP.
