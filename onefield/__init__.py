"""Onefield: neural fields and 3D reconstruction behind one interface."""
