"""A link by which the first person of a new instance gets in. Whoever sells the instance hands it over; it works once."""

from hashlib import sha256

from django.utils import timezone

from .models import FirstLogin


def digest(token):
    return sha256(token.encode()).hexdigest()


def expect(token, until):
    """From now on this token, and no other, lets somebody in."""
    FirstLogin.objects.exclude(digest=digest(token)).delete()
    FirstLogin.objects.update_or_create(digest=digest(token), defaults={"until": until})


def is_expected(token):
    return FirstLogin.objects.filter(digest=digest(token), until__gt=timezone.now()).exists()


def use(token):
    """Whether it lets somebody in. Of two at once, one comes in."""
    used, _ = FirstLogin.objects.filter(digest=digest(token), until__gt=timezone.now()).delete()
    return used == 1
