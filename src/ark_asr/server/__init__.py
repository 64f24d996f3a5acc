"""The server: HTTP, events and WebSockets over the same road (extra ``server``).

`app.create_app` puts it together. What is heard of an upload comes from a process of its own
(`ear`), what is understood of it from one thread that all clients share (`scheduler`).
"""
