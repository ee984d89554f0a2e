# What a developer types. Each target is one script in dev/; `dev/SCRIPT --help` tells more.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down install test faults release-faults outages prove-faults prove-guards bench book lint tools clean

help: ## tells what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo: ## a cluster, Postgres, the operator and three tenants, on this machine; dev/demo --help for another cluster
	@dev/demo

demo-down: ## ends the demo and removes every trace of it
	@dev/demo-down

install: ## the program for you, as kubectl tenantry, with completion and manual pages; PREFIX=~/.local
	@dev/install

test: ## all tests, on clusters and a Postgres of their own
	@dev/test

faults: ## every fault at every request of every workload; 40 minutes; dev/faults --help for a part of it
	@dev/faults

release-faults: ## the same while a release comes to ten tenants and is taken back; 25 minutes
	@dev/faults --releases

outages: ## fifty tenants being made while Postgres, or the API server, is gone for a minute
	@dev/outages

prove-faults: ## plants mistakes that only faults show, and shows that each is caught; 20 minutes
	@dev/prove-faults

prove-guards: ## takes each guard away and shows that its tests of attacks fail; 25 minutes
	@dev/prove-guards

bench: ## the operator at scale beside a bare client, every figure beside its bar; 95 minutes
	@dev/bench

book: ## docs/ as a book of HTML, in .local/book
	@dev/book

lint: ## format, clippy, shellcheck, go vet, drift of generated files
	@dev/lint

tools: ## builds the programs of local clusters into .local/bin
	@dev/install-packages
	@dev/build-tools

clean: ## ends every local environment and removes what was built, but not the downloads
	@dev/clean
