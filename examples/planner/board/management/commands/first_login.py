import os

from django.core.management.base import BaseCommand
from django.utils.dateparse import parse_datetime

from board.first_login import expect


class Command(BaseCommand):
    help = "Lets in whoever comes with TENANT_FIRST_LOGIN_TOKEN until TENANT_FIRST_LOGIN_UNTIL, once."

    def handle(self, **options):
        expect(
            os.environ["TENANT_FIRST_LOGIN_TOKEN"],
            parse_datetime(os.environ["TENANT_FIRST_LOGIN_UNTIL"]),
        )
