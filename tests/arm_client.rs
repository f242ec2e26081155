//! The client of Azure Resource Manager against the emulator.
