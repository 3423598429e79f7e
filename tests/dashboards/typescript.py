"""The dashboard as TypeScript, each part beside the type that Grafana has published for it.

Usage: typescript.py DASHBOARD; `tsc --noEmit` of what it prints finds unknown options and values of a wrong type.
"""

import json
import sys

# Types of panels, and the modules that hold theirs.
MODULES = {
    "bargauge": "bargauge",
    "stat": "stat",
    "state-timeline": "statetimeline",
    "status-history": "statushistory",
    "timeseries": "timeseries",
}
SDK = "@grafana/grafana-foundation-sdk"
# Enums of the types are plain words in the file.
PLAIN = (
    "type Plain<T> = T extends string ? `${T}` : T extends number ? T : T extends (infer U)[] ? Plain<U>[]"
    " : T extends object ? {[K in keyof T]?: Plain<T[K]>} : T;"
)


def satisfies(name, value, kind):
    return f"export const {name} = ({json.dumps(value)}) satisfies Plain<{kind}>;"


def lines(dashboard):
    for module in ["dashboard", "prometheus", *sorted(set(MODULES.values()))]:
        yield f"import type * as {module} from '{SDK}/{module}';"
    yield PLAIN
    panels = dashboard["panels"]
    bare = [{key: value for key, value in panel.items() if key != "targets"} for panel in panels]
    yield satisfies("whole", {**dashboard, "panels": bare}, "dashboard.Dashboard")
    for number, panel in enumerate(panels):
        if panel["type"] == "row":
            continue
        # A type of panel that is not in the table ends this with its name.
        module = MODULES[panel["type"]]
        yield satisfies(f"options{number}", panel["options"], f"{module}.Options")
        custom = panel["fieldConfig"]["defaults"].get("custom")
        if custom is not None:
            yield satisfies(f"custom{number}", custom, f"{module}.FieldConfig")
        for index, target in enumerate(panel["targets"]):
            yield satisfies(f"target{number}_{index}", target, "prometheus.Dataquery")


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        print("\n".join(lines(json.load(file))))
