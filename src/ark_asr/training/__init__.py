"""Teaching a model (extra ``[train]``): each recipe is a module that reads from top to bottom."""
