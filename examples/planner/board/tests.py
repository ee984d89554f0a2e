"""Run on a real Postgres; README.md says how."""

from datetime import timedelta
from unittest import mock

from django.core.management import call_command
from django.db import OperationalError
from django.test import Client, SimpleTestCase, TestCase
from django.utils import timezone, translation

from . import branding, tasks
from .models import Digest, FirstLogin, Project, Task


class BrandingTest(SimpleTestCase):
    def test_text_can_be_read_on_any_colour_of_a_tenant(self):
        for primary in ("#000000", "#ffffff", "#0a5c36", "#ffcc00", "#767676", "#ff0000"):
            colors = branding.palette(primary)
            for text, background in (
                (colors.on_primary, colors.primary),
                (colors.accent_light, branding.LIGHT_PAGE),
                (colors.accent_dark, branding.DARK_PAGE),
            ):
                with self.subTest(text=text, background=background):
                    self.assertGreaterEqual(branding.contrast(text, background), 4.5)

    def test_what_is_no_colour_never_reaches_the_style(self):
        self.assertEqual(branding.palette("red;}</style>").primary, branding.DEFAULT)

    def test_contrast_is_that_of_wcag(self):
        self.assertAlmostEqual(branding.contrast("#ffffff", "#000000"), 21)


class PageTest(TestCase):
    def setUp(self):
        self.project = Project.objects.create(name="Roof")
        self.task = Task.objects.create(project=self.project, title="Order tiles")

    def test_a_new_tenant_is_welcomed_by_its_name(self):
        with self.settings(TENANT_DISPLAY_NAME="ACME <Construction>"):
            page = self.client.get("/")
        self.assertContains(page, "ACME &lt;Construction&gt;")
        self.assertTrue(Project.objects.exclude(id=self.project.id).get().tasks.exists())

    def test_the_page_says_whose_data_it_is(self):
        page = self.client.get("/")
        self.assertContains(page, f"<code>{page.context['database']['schema']}</code>")

    def test_a_project_is_added(self):
        response = self.client.post("/projects", {"name": "Cellar"})
        self.assertRedirects(response, f"/#project-{Project.objects.get(name='Cellar').id}")

    def test_a_project_without_a_name_is_refused_on_the_page(self):
        response = self.client.post("/projects", {"name": ""})
        self.assertContains(response, "errorlist", status_code=422)

    def test_a_task_is_added_and_a_bad_one_refused(self):
        url = f"/projects/{self.project.id}/tasks"
        self.client.post(url, {"title": "Call the roofer", "due": "2026-12-01"})
        self.assertTrue(self.project.tasks.filter(title="Call the roofer").exists())
        response = self.client.post(url, {"title": "Call", "due": "soon"})
        self.assertContains(response, "errorlist", status_code=422)

    def test_a_task_is_ticked_off_and_opened_again(self):
        for done in (True, False):
            self.client.post(f"/tasks/{self.task.id}/tick")
            self.task.refresh_from_db()
            self.assertEqual(self.task.done_at is not None, done)

    def test_a_form_from_elsewhere_is_refused(self):
        client = Client(enforce_csrf_checks=True)
        self.assertEqual(client.post("/projects", {"name": "Cellar"}).status_code, 403)

    def test_overdue_tasks_stand_out(self):
        self.assertNotContains(self.client.get("/"), 'class="late"')
        self.task.due = timezone.localdate() - timedelta(days=1)
        self.task.save()
        self.assertContains(self.client.get("/"), 'class="late"')

    def test_it_speaks_the_tenants_language(self):
        with translation.override("de"):
            self.assertContains(self.client.get("/"), "Projekte und Aufgaben")

    def test_what_the_worker_counted_is_shown(self):
        Task.objects.create(project=self.project, title="Done", done_at=timezone.now())
        total = tasks.count()
        self.assertEqual(total, Task.objects.filter(done_at=None).count())
        self.assertEqual(Digest.objects.get().open_by_project[str(self.project.id)], 1)
        with translation.override("en"):
            self.assertContains(self.client.get("/"), f"Worker last counted {total} open tasks")


class FirstLoginTest(TestCase):
    def setUp(self):
        until = timezone.now() + timedelta(hours=1)
        with mock.patch.dict(
            "os.environ",
            TENANT_FIRST_LOGIN_TOKEN="t" * 40,
            TENANT_FIRST_LOGIN_UNTIL=until.isoformat(),
        ):
            call_command("first_login")

    def test_it_lets_one_person_in_once(self):
        url = "/first-login/" + "t" * 40
        self.assertContains(self.client.get(url), "Log in for the first time")
        self.assertContains(self.client.get(url), "Log in for the first time")
        self.assertRedirects(self.client.post(url), "/")
        self.assertContains(self.client.get("/"), "You are logged in")
        self.assertEqual(Client().post(url).status_code, 410)
        self.assertEqual(Client().get(url).status_code, 410)

    def test_another_token_or_a_late_one_lets_nobody_in(self):
        self.assertEqual(self.client.post("/first-login/" + "u" * 40).status_code, 410)
        FirstLogin.objects.update(until=timezone.now())
        self.assertEqual(self.client.post("/first-login/" + "t" * 40).status_code, 410)

    def test_the_token_is_not_kept(self):
        self.assertFalse(FirstLogin.objects.filter(digest__contains="tttt").exists())


class HealthTest(TestCase):
    def test_ready_asks_the_database(self):
        with self.assertNumQueries(1):
            self.assertContains(self.client.get("/healthz"), "ok")

    def test_not_ready_without_a_database(self):
        with mock.patch("django.db.connection.cursor", side_effect=OperationalError):
            response = self.client.get("/healthz")
        self.assertContains(response, "no database", status_code=503)

    def test_ready_takes_only_the_tenants_hosts(self):
        self.assertEqual(
            self.client.get("/healthz", headers={"host": "other.test"}).status_code, 400
        )

    def test_alive_asks_nobody(self):
        with self.assertNumQueries(0):
            self.assertContains(self.client.get("/livez", headers={"host": "10.0.0.1"}), "ok")
