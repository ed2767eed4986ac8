"""The page. The only room that imports Gradio; what lasts is drawn by the scripts in `assets/js`."""
