//! To come with the first cores.
