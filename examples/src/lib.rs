//! See the programs beside this folder.
