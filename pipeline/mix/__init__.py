"""Several datasets -> one: the recipe, the plan, the order, the build, the report."""
