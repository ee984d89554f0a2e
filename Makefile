# What a developer types. Each target is one script in dev/; `dev/SCRIPT --help` tells more.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test lint tools image clean

help: ## tells what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## everything on this machine: a cluster, Postgres, the operator and two tenants
	@dev/demo

demo-down: ## ends the demo and removes it
	@dev/demo-down

test: ## all tests, on a cluster of their own
	@dev/test

lint: ## format, clippy, shellcheck, go vet, drift of generated files
	@dev/lint

tools: ## builds the programs of local clusters into .local/bin
	@dev/install-packages
	@dev/build-tools

image: ## the operator's container image, as a docker-archive in .local/images
	@dev/image

clean: ## ends every local environment and removes what was built, but not the downloads
	@dev/clean
