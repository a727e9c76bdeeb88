"""Attacks on the own network that its owner may order: each is carried out for real, against the
rules and the peers that everybody else faces, and must be refused.

An attempt prepares the bytes that it will send; its owner may change them first. Nothing here is
exempt from any check, and nothing is undone afterwards that the network would not undo.
"""
