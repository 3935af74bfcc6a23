"""Scenes of a few coloured objects: miniatures of COCO, Flickr30k, VQA, NLVR2 and SNLI-VE."""
