"""Four families of efficient backbones, one file each, behind one registry. Needs torch and nothing else."""

from .registry import FAMILIES, config_of, create_backbone, family_of, is_backbone, list_backbones

__all__ = ["FAMILIES", "config_of", "create_backbone", "family_of", "is_backbone", "list_backbones"]
