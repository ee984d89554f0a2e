# How gunicorn serves the planner; it reads this file by itself, from the folder it starts in.
bind = "0.0.0.0:8000"
workers = 2
threads = 2
preload_app = True  # loads Django once; the workers share its memory
graceful_timeout = 20  # seconds that requests in flight get to end after SIGTERM

# Nothing is written to the image's own folders, which are read-only in a pod.
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
