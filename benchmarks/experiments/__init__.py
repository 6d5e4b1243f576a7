"""Bounded experiments: what would a part gain that the library does not have?"""
