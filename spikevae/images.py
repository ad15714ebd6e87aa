"""The former place of `spikevae.data.images`: programs that import from here go on working."""

from spikevae.data.images import check_save_path, read_image, save_images, to_uint8

__all__ = ["check_save_path", "read_image", "save_images", "to_uint8"]
