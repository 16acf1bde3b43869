"""The tables that the papers print, as data, and checks of whether their numbers can be."""
