"""Virtual pollution monitors that speak HJ 212-2017; an encoder of their own, so that both sides prove each other."""
