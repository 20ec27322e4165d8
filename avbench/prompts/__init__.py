"""Prompt suites: named prompt lists that come with avbench or are pulled from a hub, and JavisBench's taxonomy."""

from avbench.prompts.catalogue import Hub, PromptSuite, get_prompt_suite, list_prompt_suites
from avbench.prompts.export import Template, as_records, render
from avbench.prompts.files import find_prompts, load_prompt_suite, prompt_file
from avbench.prompts.pull import Pulled, pull_prompts
from avbench.prompts.select import select_rows
from avbench.prompts.taxonomy import Aspect, Kind, taxonomy
from avbench.sources.shipped import shipped_folder

__all__ = [
    "Aspect",
    "Hub",
    "Kind",
    "PromptSuite",
    "Pulled",
    "Template",
    "as_records",
    "find_prompts",
    "get_prompt_suite",
    "list_prompt_suites",
    "load_prompt_suite",
    "prompt_file",
    "pull_prompts",
    "render",
    "select_rows",
    "shipped_folder",
    "taxonomy",
]
