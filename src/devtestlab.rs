//! Microsoft.DevTestLab: labs, virtual machines, custom images, environments, artifact sources.
