"""What kinds of types there are to read JSON into, and whether one can be read at all."""
