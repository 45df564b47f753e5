"""What the pages share: templates, plotly's own code, and figures as data that a page can hold. No network."""

import jinja2
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup
from plotly.offline import get_plotlyjs


def render(template: str, **content: object) -> str:
    """A page of valence/templates. Everything from outside is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("valence"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # our dependency's own code
    plotly_js = Markup(get_plotlyjs().replace("</script", "<\\/script"))  # noqa: S704
    return environment.get_template(template).render(plotly_js=plotly_js, **content)


def embedded(figure: go.Figure, name: str) -> dict:
    """Name and JSON of a figure, safe inside a script element: plotly writes every < as \\u003c."""
    text = plotly.io.to_json(figure, engine="json")
    return {"name": name, "json": Markup(text), "height": int(figure.layout.height)}  # noqa: S704 a test holds it
