"""The pages: each asks its questions, makes its view and renders its template."""
